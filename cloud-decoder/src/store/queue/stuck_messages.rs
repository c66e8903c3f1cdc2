//! Messages that JetStream will never deliver to a worker.
//!
//! When a server dies, a cluster may keep a message that its consumer has passed: the consumer's new leader knows of an
//! acknowledgement or delivery that the stream's leader does not. Such a message is never delivered and stays for good.
//! It must not count as waiting.

use async_nats::jetstream::{
    consumer::PullConsumer,
    message::StreamMessage,
    stream::{RawMessageError, RawMessageErrorKind, Stream},
};

use super::contract::{QueueError, failed};

/// Messages that are removed at a time.
const AT_ONCE: usize = 1000;

/// Arrival of the oldest message that will be delivered, or `now_ms` if there is none, in milliseconds since the Unix
/// epoch. Removes stuck messages.
pub(super) async fn oldest_ms(
    stream: &Stream<()>,
    queues: [(&PullConsumer, &str); 2],
    now_ms: i64,
) -> Result<i64, QueueError> {
    let mut oldest = now_ms;
    for (consumer, subject) in queues {
        let info = consumer.get_info().await;
        let info = info.map_err(failed("looking at the queue"))?;
        let behind = info.ack_floor.stream_sequence;
        let mut removed = 0;
        while removed < AT_ONCE
            && let Some(message) = from(stream, subject, 1).await?
            && message.sequence <= behind
        {
            if let Err(error) = stream.delete_message(message.sequence).await {
                // The message may just have been removed otherwise; if not, the next comparison removes it.
                tracing::debug!(%error, "a message cannot be removed");
                break;
            }
            removed += 1;
        }
        if removed > 0 {
            tracing::warn!(
                removed,
                subject,
                "messages that NATS would have given to nobody"
            );
        }
        if let Some(message) = from(stream, subject, behind + 1).await? {
            let ms = message.time.unix_timestamp_nanos() / 1_000_000;
            oldest = oldest.min(i64::try_from(ms).unwrap_or(i64::MAX));
        }
    }
    Ok(oldest)
}

/// The first message of a subject from a sequence number on.
async fn from(
    stream: &Stream<()>,
    subject: &str,
    sequence: u64,
) -> Result<Option<StreamMessage>, QueueError> {
    match stream
        .get_first_raw_message_by_subject(subject, sequence)
        .await
    {
        Ok(message) => Ok(Some(message)),
        Err(error) if is_none(&error) => Ok(None),
        Err(error) => Err(failed("looking at a message")(error)),
    }
}

fn is_none(error: &RawMessageError) -> bool {
    matches!(error.kind(), RawMessageErrorKind::NoMessageFound)
}
