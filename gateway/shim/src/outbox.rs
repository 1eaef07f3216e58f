//! What waits for one channel of the kernel: bounded, and held until the kernel answers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes that may wait before a client is read on.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Messages that may wait.
const MAX_MESSAGES: usize = 16 * 1024;

/// A queue with two classes: the shim's own requests, and those of clients.
#[derive(Default)]
pub(crate) struct Outbox {
    urgent: RefCell<VecDeque<Vec<Bytes>>>,
    queue: RefCell<VecDeque<Vec<Bytes>>>,
    bytes: Cell<usize>,
    pushed: Notify,
    popped: Notify,
}

impl Outbox {
    /// Waits until a client's message fits.
    pub(crate) async fn room(&self) {
        loop {
            // Registered before looking, so that no wake-up is missed.
            let popped = self.popped.notified();
            if self.bytes.get() < MAX_BYTES && self.queue.borrow().len() < MAX_MESSAGES {
                return;
            }
            popped.await;
        }
    }

    /// Queues a client's message, after [`Outbox::room`].
    pub(crate) fn push(&self, parts: Vec<Bytes>) {
        self.bytes.set(self.bytes.get() + size(&parts));
        self.queue.borrow_mut().push_back(parts);
        self.pushed.notify_one();
    }

    /// Queues an own request ahead of everything.
    pub(crate) fn push_urgent(&self, parts: Vec<Bytes>) {
        self.urgent.borrow_mut().push_back(parts);
        self.pushed.notify_one();
    }

    /// The next message; those of clients only while `released`. One task at a time.
    pub(crate) async fn next(&self, released: impl Fn() -> bool) -> Vec<Bytes> {
        loop {
            let pushed = self.pushed.notified();
            if let Some(parts) = self.urgent.borrow_mut().pop_front() {
                return parts;
            }
            if released()
                && let Some(parts) = self.queue.borrow_mut().pop_front()
            {
                self.bytes.set(self.bytes.get().saturating_sub(size(&parts)));
                self.popped.notify_waiters();
                return parts;
            }
            pushed.await;
        }
    }

    /// Makes [`Outbox::next`] look again.
    pub(crate) fn wake(&self) {
        self.pushed.notify_one();
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.urgent.borrow_mut().clear();
        self.queue.borrow_mut().clear();
        self.bytes.set(0);
        self.popped.notify_waiters();
    }
}

fn size(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn clients_wait_for_the_kernel_and_own_requests_do_not() {
        let outbox = Outbox::default();
        let part = |text: &'static str| vec![Bytes::from_static(text.as_bytes())];
        outbox.push(part("client"));
        assert_eq!(poll(outbox.next(|| false)), None);
        outbox.push_urgent(part("own"));
        assert_eq!(poll(outbox.next(|| false)), Some(part("own")));
        assert_eq!(poll(outbox.next(|| true)), Some(part("client")));
        assert_eq!(poll(outbox.next(|| true)), None);
    }

    #[test]
    fn a_full_queue_has_no_room_until_something_left() {
        let outbox = Outbox::default();
        outbox.push(vec![Bytes::from(vec![0; MAX_BYTES])]);
        let mut room = pin!(outbox.room());
        let mut context = Context::from_waker(Waker::noop());
        assert!(room.as_mut().poll(&mut context).is_pending());
        assert!(poll(outbox.next(|| true)).is_some());
        assert!(room.as_mut().poll(&mut context).is_ready());
        for _ in 0..MAX_MESSAGES {
            outbox.push(Vec::new());
        }
        assert!(poll(outbox.room()).is_none());
        outbox.clear();
        assert!(poll(outbox.room()).is_some());
    }
}
