//! Requests and replies as they are parsed: all fields of all kinds, before the kind is known.
//!
//! The code that serde derives for a tagged enum copies everything it reads, and is many times as large.

use qssl_core::at::{CommandOutcome, Refusal};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serializer};

use super::{PortTranscript, Reply, Request, StoredFile};
use crate::daemon::status::Status;

/// The fields of all requests.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestFields {
    request: Option<String>,
    command: Option<String>,
    force: Option<bool>,
    timeout_seconds: Option<u16>,
    name: Option<String>,
    content: Option<String>,
    size: Option<usize>,
    payload: Option<bool>,
    client: Option<u64>,
}

/// The fields of all replies.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReplyFields {
    reply: Option<String>,
    status: Option<Box<Status>>,
    result: Option<String>,
    lines: Option<Vec<String>>,
    content: Option<String>,
    connection: Option<u8>,
    code: Option<u16>,
    ports: Option<Vec<PortTranscript>>,
    files: Option<Vec<StoredFile>>,
    id: Option<String>,
    message: Option<String>,
}

impl TryFrom<RequestFields> for Request {
    type Error = String;

    fn try_from(fields: RequestFields) -> Result<Request, String> {
        let name = needed(fields.request, "request")?;
        Ok(match name.as_str() {
            "status" => Request::Status,
            "at" => Request::At {
                command: needed(fields.command, "command")?,
                force: fields.force.unwrap_or(false),
                timeout_seconds: fields.timeout_seconds,
            },
            "modem" => Request::Modem { name: needed(fields.name, "name")? },
            "await-open" => {
                Request::AwaitOpen { timeout_seconds: needed(fields.timeout_seconds, "timeout_seconds")? }
            }
            "upload" => Request::Upload {
                name: needed(fields.name, "name")?,
                content: needed(fields.content, "content")?,
            },
            "download" => {
                Request::Download { name: needed(fields.name, "name")?, size: needed(fields.size, "size")? }
            }
            "stored-files" => Request::StoredFiles,
            "kill" => Request::Kill { client: needed(fields.client, "client")? },
            "transcript" => Request::Transcript { payload: fields.payload },
            _ => return Err(format!("there is no request {name:?}")),
        })
    }
}

impl TryFrom<ReplyFields> for Reply {
    type Error = String;

    fn try_from(fields: ReplyFields) -> Result<Reply, String> {
        let name = needed(fields.reply, "reply")?;
        Ok(match name.as_str() {
            "status" => Reply::Status { status: needed(fields.status, "status")? },
            "answer" => Reply::Answer {
                // A result that this version does not know is none of those that are good.
                outcome: needed(fields.result, "result")?
                    .parse()
                    .unwrap_or(CommandOutcome::Refused(Refusal::Plain)),
                lines: needed(fields.lines, "lines")?,
                content: fields.content.unwrap_or_default(),
            },
            "opened" => Reply::Opened {
                connection: needed(fields.connection, "connection")?,
                code: needed(fields.code, "code")?,
            },
            "stored-files" => Reply::StoredFiles { files: needed(fields.files, "files")? },
            "transcript" => Reply::Transcript { ports: needed(fields.ports, "ports")? },
            "done" => Reply::Done,
            "error" => {
                Reply::Error { id: needed(fields.id, "id")?, message: needed(fields.message, "message")? }
            }
            _ => return Err(format!("there is no reply {name:?}")),
        })
    }
}

/// `"outcome":"ok","result":"SEND OK"`: in short for scripts, and in the modem's words.
pub fn outcome<S: Serializer>(outcome: &CommandOutcome, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("CommandOutcome", 2)?;
    fields.serialize_field("outcome", if outcome.is_done() { "ok" } else { "error" })?;
    fields.serialize_field("result", &outcome.to_string())?;
    fields.end()
}

fn needed<T>(field: Option<T>, name: &str) -> Result<T, String> {
    field.ok_or_else(|| format!("the field {name:?} is missing"))
}
