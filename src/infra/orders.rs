//! What an administrator asks of the whole process, on its way from a handler to whoever runs the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Begin anew in this process; what runs may end.
    Restart,
    /// End.
    Shutdown,
}

/// The giving side; clones give to the same process.
#[derive(Debug, Clone)]
pub struct Orders {
    way: mpsc::Sender<Order>,
    under_way: Arc<AtomicBool>,
}

/// The taking side.
#[derive(Debug)]
pub struct OrderBook {
    way: mpsc::Receiver<Order>,
    under_way: Arc<AtomicBool>,
}

/// Both sides.
pub fn orders() -> (Orders, OrderBook) {
    let ((give, take), under_way) = (mpsc::channel(1), Arc::new(AtomicBool::new(false)));
    (Orders { way: give, under_way: Arc::clone(&under_way) }, OrderBook { way: take, under_way })
}

impl Orders {
    /// Whether the order was taken. An earlier one keeps others out until it is over: a process that is about to end
    /// hears nobody any more.
    pub fn give(&self, order: Order) -> bool {
        !self.under_way.swap(true, Ordering::AcqRel) && self.way.try_send(order).is_ok()
    }
}

impl OrderBook {
    /// The next order; never comes once nobody can give one.
    pub async fn next(&mut self) -> Order {
        match self.way.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }

    /// The order was given up, and the process goes on as it is: others may be given.
    pub fn over(&self) {
        self.under_way.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_order_is_under_way_at_a_time() {
        let (orders, mut book) = orders();

        let given = [Order::Restart, Order::Shutdown].map(|order| orders.give(order));
        let taken = book.next().await;
        let meanwhile = orders.give(Order::Shutdown);
        book.over();

        assert_eq!((given, taken, meanwhile), ([true, false], Order::Restart, false));
        assert!(orders.give(Order::Shutdown));
    }
}
