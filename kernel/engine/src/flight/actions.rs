//! Carrel's actions and the benign ones of Flight that clients send.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, TicketStatementQuery};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
};
use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use futures::stream;
use prost::Message;
use tonic::{Response, Status};

use super::status::to_status;
use super::{Service, describe};

type Stream = <Service as FlightService>::DoActionStream;

/// Name and purpose of the actions beyond Flight SQL.
const ACTIONS: &[(&str, &str)] = &[
    ("carrel.progress", "Where a statement stands: body is its handle, answer is JSON."),
    ("carrel.stats", "What a statement took: body is its handle, answer is JSON."),
    ("carrel.cancel", "Stops a statement: body is its handle, or empty for all."),
    (
        "carrel.reset",
        "Forgets the session's tables, views, models and settings, unless session.persist is set: its kernel was restarted.",
    ),
    ("carrel.describe", "Names, columns and facts for completion: body and answer are JSON."),
    ("CancelFlightInfo", "Stops a statement by its FlightInfo."),
    ("CloseSession", "Does nothing: a session ends with its kernel."),
];

/// For ListActions.
pub(super) fn list() -> Vec<Result<ActionType, Status>> {
    let one = |(name, about): &(&str, &str)| {
        Ok(ActionType { r#type: (*name).to_owned(), description: (*about).to_owned() })
    };
    ACTIONS.iter().map(one).collect()
}

/// Does one.
pub(super) async fn act(service: &Service, action: Action) -> Result<Response<Stream>, Status> {
    let body = match action.r#type.as_str() {
        "carrel.progress" => json(&run(service, &action.body)?.progress())?,
        "carrel.stats" => json(&run(service, &action.body)?.stats())?,
        "carrel.cancel" => {
            let handle = text(&action.body)?;
            let stopped = service.0.registry.cancel(Some(handle).filter(|handle| !handle.is_empty()));
            json(&serde_json::json!({ "stopped": stopped }))?
        }
        "carrel.reset" => {
            service.0.registry.cancel(None);
            service.0.session.reset().map_err(|problem| to_status(&problem))?;
            json(&serde_json::json!({}))?
        }
        "carrel.describe" => {
            describe::answer(&service.0.session, &action.body).await.map_err(|p| to_status(&p))?
        }
        "CancelFlightInfo" => {
            let request = CancelFlightInfoRequest::decode(action.body).map_err(|_| unreadable())?;
            let stopped = request
                .info
                .as_ref()
                .and_then(handle_of)
                .map(|handle| service.0.registry.cancel(Some(&handle)));
            let status =
                if stopped.unwrap_or(0) > 0 { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
            CancelFlightInfoResult { status: status.into() }.encode_to_vec().into()
        }
        // CloseSessionResult { status: CLOSED }, GetSessionOptionsResult {}, SetSessionOptionsResult {}
        "CloseSession" => Bytes::from_static(&[0x08, 0x01]),
        "GetSessionOptions" | "SetSessionOptions" => Bytes::new(),
        other => {
            let problem = Problem::new(Ename::Unsupported, format!("there is no action {other}"));
            return Err(to_status(&problem.suggest(other, ACTIONS.iter().map(|(name, _)| name))));
        }
    };
    Ok(Response::new(Box::pin(stream::iter([Ok(arrow_flight::Result { body })]))))
}

/// The handle in a FlightInfo's ticket.
pub(super) fn handle_of(info: &FlightInfo) -> Option<String> {
    let ticket = info.endpoint.first()?.ticket.as_ref()?;
    let any = Any::decode(ticket.ticket.clone()).ok()?;
    let ticket = any.unpack::<TicketStatementQuery>().ok()??;
    String::from_utf8(ticket.statement_handle.to_vec()).ok()
}

fn run(service: &Service, body: &Bytes) -> Result<std::sync::Arc<crate::run::Run>, Status> {
    let handle = text(body)?;
    service
        .0
        .registry
        .run(handle)
        .ok_or_else(|| to_status(&Problem::new(Ename::EngineLost, "the engine no longer has this statement")))
}

fn text(body: &Bytes) -> Result<&str, Status> {
    std::str::from_utf8(body).map_err(|_| unreadable())
}

fn unreadable() -> Status {
    to_status(&Problem::new(Ename::BadOption, "the action's body cannot be read"))
}

fn json(value: &impl serde::Serialize) -> Result<Bytes, Status> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| to_status(&carrel_query::problems::internal("an answer", &error)))
}
