//! The URL corpus: what is refused, with which reason, and what is let through.

use super::*;

fn policy(exceptions: &[&str]) -> AddressPolicy {
    let exceptions: Vec<String> = exceptions.iter().map(ToString::to_string).collect();
    AddressPolicy::new(&exceptions, false).unwrap()
}

fn kind(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Scheme { .. } => "scheme".to_owned(),
        Refusal::PlainHttp { .. } => "http".to_owned(),
        Refusal::UserInfo => "userinfo".to_owned(),
        Refusal::NoHost => "no host".to_owned(),
        Refusal::Port { .. } => "port".to_owned(),
        Refusal::LocalName { .. } => "local name".to_owned(),
        Refusal::Address { range, .. } => range.to_string(),
    }
}

/// `ok`, or the kind of the refusal, for each URL under the default policy.
const CORPUS: &[(&str, &str)] = &[
    ("https://api.openai.com/v1", "ok"),
    ("https://api.openai.com:443/v1", "ok"),
    ("https://api.openai.com:80/v1", "ok"),
    ("https://API.Example.COM./v1", "ok"),
    ("https://münchen.example/v1", "ok"),
    ("https://8.8.8.8/v1", "ok"),
    ("https://[2606:4700::1111]/v1", "ok"),
    ("https://172.32.0.1/", "ok"),
    ("https://172.15.255.255/", "ok"),
    ("https://100.63.255.255/", "ok"),
    ("https://100.128.0.1/", "ok"),
    ("https://198.20.0.1/", "ok"),
    ("https://11.0.0.1/", "ok"),
    ("http://api.openai.com/v1", "http"),
    ("http://8.8.8.8/", "http"),
    ("ftp://api.openai.com/v1", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://127.0.0.1:70/", "scheme"),
    ("ws://api.openai.com/", "scheme"),
    ("data:text/plain,hi", "scheme"),
    ("unix:/run/docker.sock", "scheme"),
    ("https://user:pass@api.openai.com/", "userinfo"),
    ("https://user@api.openai.com/", "userinfo"),
    ("https://:secret@api.openai.com/", "userinfo"),
    ("https://api.openai.com@127.0.0.1/", "userinfo"),
    ("https://api.openai.com:8443/", "port"),
    ("https://api.openai.com:22/", "port"),
    ("https://8.8.8.8:6379/", "port"),
    ("https://localhost/", "local name"),
    ("https://LOCALHOST/", "local name"),
    ("https://localhost./", "local name"),
    ("https://foo.localhost/", "local name"),
    ("https://localhost:11434/", "port"),
    ("https://127.0.0.1/", "loopback"),
    ("https://127.1/", "loopback"),
    ("https://127.255.255.254/", "loopback"),
    ("https://2130706433/", "loopback"),
    ("https://0x7f000001/", "loopback"),
    ("https://0x7f.1/", "loopback"),
    ("https://0177.0.0.1/", "loopback"),
    ("https://017700000001/", "loopback"),
    ("https://%31%32%37.0.0.1/", "loopback"),
    ("https://127。0。0。1/", "loopback"),
    ("https://①②⑦.⓪.⓪.①/", "loopback"),
    ("https://[::1]/", "loopback"),
    ("https://[0:0:0:0:0:0:0:1]/", "loopback"),
    ("https://[::ffff:127.0.0.1]/", "loopback"),
    ("https://[::ffff:7f00:1]/", "loopback"),
    ("https://[::127.0.0.1]/", "loopback"),
    ("https://[64:ff9b::7f00:1]/", "loopback"),
    ("https://[2002:7f00:1::]/", "loopback"),
    ("https://[::ffff:0:127.0.0.1]/", "loopback"),
    ("https://[::ffff:8.8.8.8]/", "translated"),
    ("https://[64:ff9b::808:808]/", "translated"),
    ("https://[64:ff9b:1::a00:1]/", "translated"),
    ("https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "translated"),
    ("https://[2002:808:808::1]/", "translated"),
    ("https://192.88.99.1/", "translated"),
    ("https://10.0.0.1/", "private"),
    ("https://10.255.255.255/", "private"),
    ("https://172.16.0.1/", "private"),
    ("https://172.31.255.255/", "private"),
    ("https://192.168.1.1/", "private"),
    ("https://3232235777/", "private"),
    ("https://[::ffff:192.168.0.1]/", "private"),
    ("https://100.64.0.1/", "carrier-grade NAT"),
    ("https://100.127.255.255/", "carrier-grade NAT"),
    ("https://169.254.169.254/latest/meta-data/", "link-local"),
    ("https://[fe80::1]/", "link-local"),
    ("https://[febf::1]/", "link-local"),
    ("https://[::ffff:169.254.169.254]/", "link-local"),
    ("https://[64:ff9b::a9fe:a9fe]/", "link-local"),
    ("https://[fc00::1]/", "unique local"),
    ("https://[fd00:ec2::254]/", "unique local"),
    ("https://[fec0::1]/", "unique local"),
    ("https://224.0.0.1/", "multicast"),
    ("https://[ff02::1]/", "multicast"),
    ("https://0.0.0.0/", "unspecified"),
    ("https://0/", "unspecified"),
    ("https://0.1.2.3/", "unspecified"),
    ("https://[::]/", "unspecified"),
    ("https://255.255.255.255/", "broadcast"),
    ("https://240.0.0.1/", "reserved"),
    ("https://192.0.0.8/", "reserved"),
    ("https://[100::1]/", "reserved"),
    ("https://[2001:10::1]/", "reserved"),
    ("https://192.0.2.1/", "documentation"),
    ("https://198.51.100.7/", "documentation"),
    ("https://203.0.113.9/", "documentation"),
    ("https://[2001:db8::1]/", "documentation"),
    ("https://[3fff::1]/", "documentation"),
    ("https://198.18.0.1/", "benchmark"),
    ("https://198.19.255.255/", "benchmark"),
    ("https://[2001:2::1]/", "benchmark"),
];

#[test]
fn the_corpus_is_judged_as_listed() {
    let policy = policy(&[]);

    let wrong: Vec<String> = CORPUS
        .iter()
        .filter_map(|(url, expected)| {
            let found = policy.check_url(&Url::parse(url).unwrap()).map_or_else(|r| kind(&r), |()| "ok".to_owned());
            (found != *expected).then(|| format!("{url}: expected {expected}, found {found}"))
        })
        .collect();

    assert!(CORPUS.len() >= 60);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let policy = policy(&[]);
    let said = |url: &str| policy.check_url(&Url::parse(url).unwrap()).unwrap_err().to_string();

    assert!(said("https://0.0.0.0/").contains("an unspecified address"), "{}", said("https://0.0.0.0/"));
    assert!(said("https://10.0.0.1/").contains("a private address"), "{}", said("https://10.0.0.1/"));
}

#[test]
fn a_listed_host_and_port_is_let_through_and_no_other_port() {
    let policy = policy(&["10.0.0.7:8000", "[::1]:9000", "localhost:11434", "vllm.lan:*"]);
    let allowed = |url: &str| policy.check_url(&Url::parse(url).unwrap()).is_ok();

    assert!(allowed("http://10.0.0.7:8000/v1"));
    assert!(allowed("https://0x0a000007:8000/v1"));
    assert!(!allowed("http://10.0.0.7:8001/v1"));
    assert!(!allowed("https://10.0.0.7/v1"));
    assert!(!allowed("http://10.0.0.8:8000/v1"));
    assert!(allowed("http://[::1]:9000/"));
    assert!(allowed("http://LocalHost:11434/"));
    assert!(!allowed("http://127.0.0.1:11434/"));
    assert!(allowed("http://vllm.lan:1/"));
    assert!(!allowed("http://vllm.lan.example.com/"));
}

#[test]
fn plain_http_to_public_hosts_can_be_allowed_without_opening_private_space() {
    let policy = AddressPolicy::new(&[], true).unwrap();

    assert_eq!(policy.check_url(&Url::parse("http://api.example.com/").unwrap()), Ok(()));
    assert!(policy.check_url(&Url::parse("http://127.0.0.1/").unwrap()).is_err());
    assert!(policy.check_url(&Url::parse("http://api.example.com:8080/").unwrap()).is_err());
}

#[test]
fn a_public_name_that_resolves_inside_is_refused_at_connect() {
    let policy = policy(&["127.0.0.1:*"]);

    let refusal = policy.check_address("api.example.com", 443, Ipv4Addr::LOCALHOST.into()).unwrap_err();

    assert_eq!(kind(&refusal), "loopback");
    assert_eq!(policy.check_address("127.0.0.1", 443, Ipv4Addr::LOCALHOST.into()), Ok(()));
    assert_eq!(policy.check_address("api.example.com", 443, Ipv4Addr::new(8, 8, 8, 8).into()), Ok(()));
}

#[test]
fn a_listed_name_reaches_private_space_but_never_the_metadata_service() {
    let policy = policy(&["vllm.lan:8000", "169.254.169.254:80"]);
    let metadata = Ipv4Addr::new(169, 254, 169, 254).into();

    assert_eq!(policy.check_address("vllm.lan", 8000, Ipv4Addr::new(10, 0, 0, 9).into()), Ok(()));
    assert!(policy.check_address("vllm.lan", 8000, metadata).is_err());
    assert!(policy.check_address("vllm.lan", 8001, Ipv4Addr::new(10, 0, 0, 9).into()).is_err());
    assert_eq!(policy.check_address("169.254.169.254", 80, metadata), Ok(()));
}

#[test]
fn a_refusal_names_the_setting_and_the_entry_that_would_allow_it() {
    let refusal = policy(&[]).check_url(&Url::parse("https://10.0.0.7/").unwrap()).unwrap_err();

    let message = refusal.to_string();

    assert!(message.contains("upstream.allow_private_hosts"), "{message}");
    assert!(message.contains("`10.0.0.7:443`"), "{message}");
}

#[test]
fn an_exception_that_is_not_exactly_one_host_is_refused() {
    for entry in ["", "10.0.0.7", "10.0.0.0/8:80", "*:80", "*.lan:80", "::1:80", "host:0", "host:99999", ":80", "a b:1"]
    {
        assert_eq!(
            AddressPolicy::new(&[entry.to_owned()], false).unwrap_err(),
            PolicyError::BadException { entry: entry.to_owned() }
        );
    }
}
