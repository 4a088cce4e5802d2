//! What an administrator asks of the whole process, on its way from a handler to whoever runs the process.

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
pub struct Orders(mpsc::Sender<Order>);

/// The taking side.
#[derive(Debug)]
pub struct OrderBook(mpsc::Receiver<Order>);

/// Both sides.
pub fn orders() -> (Orders, OrderBook) {
    let (give, take) = mpsc::channel(1);
    (Orders(give), OrderBook(take))
}

impl Orders {
    /// Whether the order was taken; an earlier one that still waits keeps others out.
    pub fn give(&self, order: Order) -> bool {
        self.0.try_send(order).is_ok()
    }
}

impl OrderBook {
    /// The next order; never comes once nobody can give one.
    pub async fn next(&mut self) -> Order {
        match self.0.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_order_waits_at_a_time() {
        let (orders, mut book) = orders();

        let given = [Order::Restart, Order::Shutdown].map(|order| orders.give(order));

        assert_eq!((given, book.next().await), ([true, false], Order::Restart));
        assert!(orders.give(Order::Shutdown));
    }
}
