//! Records on their way from a worker through the journal into a real store.

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::usage::record::Tokens;

use super::*;
use crate::infra::crypto::{MasterKey, MasterKeySource, Vault};
use crate::store::{Store, StoreOptions};

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = MasterKeySource::Embedded { data_dir: dir.path().to_owned(), may_create: true };
        let vault = Arc::new(Vault::new(&MasterKey::load_or_create(&source).unwrap()));
        let options = StoreOptions {
            url: format!("sqlite:{}", dir.path().join("t.sqlite").display()),
            data_dir: dir.path().to_owned(),
            readers: 1,
            vault,
        };
        Self { store: Store::open(&options).unwrap(), dir }
    }

    fn recorder(&self, refuse: bool) -> Arc<Recorder> {
        Recorder::new(RecorderOptions {
            dir: self.dir.path().join("journal"),
            segment_bytes: 700,
            spool_max_bytes: 1 << 30,
            refuse,
            fsync: Duration::from_millis(100),
        })
        .unwrap()
    }

    fn files(&self) -> usize {
        journal::files(&self.dir.path().join("journal")).unwrap().len()
    }
}

fn record(id: usize) -> UsageRecord {
    UsageRecord {
        request_id: format!("r{id}"),
        at: UnixMillis(1_750_000_000_000),
        key_id: Some("k".into()),
        connection: Some("c".into()),
        provider: Some("p".into()),
        model: Some("m".into()),
        requested_model: "m".into(),
        combo: None,
        status: 200,
        outcome: "success".into(),
        streamed: true,
        tokens: Tokens { prompt: 3, completion: 4, ..Tokens::default() },
        first_content_ms: Some(5),
        total_ms: 6,
        session: None,
        attempts: Vec::new(),
    }
}

#[actix::test]
async fn every_record_reaches_the_store_once_and_stored_files_go() {
    let bed = Bed::new();
    let recorder = bed.recorder(false);
    (0..50).for_each(|id| recorder.record(record(id)).unwrap());
    assert!(bed.files() > 1);

    let mut replay = Replay::new(Arc::clone(&recorder), bed.store.clone());
    replay.pass().await.unwrap();
    replay.pass().await.unwrap();

    assert_eq!(bed.store.usage().count().await.unwrap(), 50);
    assert!(bed.files() <= 1, "only the file in use is left");
    assert_eq!(recorder.counts(), (50, 0, 50));
}

#[actix::test]
async fn what_a_killed_process_left_is_stored_by_the_next_one_without_doubles() {
    let bed = Bed::new();
    let killed = bed.recorder(false);
    (0..20).for_each(|id| killed.record(record(id)).unwrap());
    Replay::new(Arc::clone(&killed), bed.store.clone()).pass().await.unwrap();
    (20..30).for_each(|id| killed.record(record(id)).unwrap());

    drop(killed);
    let next = bed.recorder(false);
    Replay::new(next, bed.store.clone()).pass().await.unwrap();

    assert_eq!(bed.store.usage().count().await.unwrap(), 30);
    assert_eq!(bed.files(), 0);
}

#[actix::test]
async fn a_disk_that_refuses_holds_records_in_memory_and_may_refuse_requests() {
    let (calm, bed) = (Bed::new(), Bed::new());
    let (spool, refuse) = (calm.recorder(false), bed.recorder(true));
    let block = |bed: &Bed| {
        let dir = bed.dir.path().join("journal");
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::write(&dir, "in the way").unwrap();
        dir
    };
    let (_, dir) = (block(&calm), block(&bed));

    assert!(spool.record(record(1)).is_err());
    assert!(!spool.refuses());
    assert!(refuse.record(record(2)).is_err());
    assert!(refuse.refuses());

    std::fs::remove_file(&dir).unwrap();
    refuse.look_for_room();
    assert!(!refuse.refuses(), "it recovers by itself");
    refuse.record(record(3)).unwrap();
    Replay::new(Arc::clone(&refuse), bed.store.clone()).pass().await.unwrap();
    assert_eq!(bed.store.usage().count().await.unwrap(), 2, "what waited in memory was written");
}

#[actix::test]
async fn what_a_worker_without_further_requests_holds_is_written_too() {
    let bed = Bed::new();
    let recorder = bed.recorder(false);
    let dir = bed.dir.path().join("journal");
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::write(&dir, "in the way").unwrap();
    let of_a_worker = Arc::clone(&recorder);
    std::thread::spawn(move || (0..3).for_each(|id| assert!(of_a_worker.record(record(id)).is_err()))).join().unwrap();

    std::fs::remove_file(&dir).unwrap();
    recorder.look_for_room();
    Replay::new(Arc::clone(&recorder), bed.store.clone()).pass().await.unwrap();

    assert_eq!((bed.store.usage().count().await.unwrap(), recorder.counts()), (3, (3, 0, 3)));
}

#[actix::test]
async fn of_more_than_fits_in_memory_the_oldest_give_way_and_are_counted() {
    let bed = Bed::new();
    let recorder = bed.recorder(false);

    recorder.hold(&[], (0..KEPT + 2).map(|id| Arc::new(record(id))).collect());

    let waiting = recorder.waiting.load();
    assert_eq!((waiting.len(), waiting[0].request_id.as_str(), recorder.counts().1), (KEPT, "r2", 2));
}

#[actix::test]
async fn two_processes_never_share_a_journal() {
    let bed = Bed::new();
    let _first = bed.recorder(false);
    let options = RecorderOptions {
        dir: bed.dir.path().join("journal"),
        segment_bytes: 700,
        spool_max_bytes: 1 << 30,
        refuse: false,
        fsync: Duration::ZERO,
    };

    let second = Recorder::new(options);

    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}
