//! The Flight SQL trait: every request to the function that answers it.

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionCancelQueryRequest,
    ActionCancelQueryResult, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo,
    CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery,
    CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery, CommandStatementUpdate,
    DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    Ticket,
};
use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::ParamValues;
use futures::{Stream, TryStreamExt, stream};
use prost::Message;
use std::pin::Pin;
use tonic::{Request, Response, Status, Streaming};

use super::status::to_status;
use super::{DoGet, Service, actions, encoded_batch, metadata, prepared};
use crate::output::plain_schema;
use crate::registry::Prepared;
use crate::run::Run;

/// `TableExistsOption` of FlightSql.proto, which the crate does not export.
mod if_exists {
    pub(super) const APPEND: i32 = 2;
    pub(super) const REPLACE: i32 = 3;
}

/// `CancelResult` of FlightSql.proto, which the crate does not export.
mod cancel {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const NOT_CANCELLABLE: i32 = 3;
}

fn failed(problem: Problem) -> Status {
    to_status(&problem)
}

fn text(bytes: &Bytes) -> Result<&str, Status> {
    std::str::from_utf8(bytes)
        .map_err(|_| failed(Problem::new(Ename::BadOption, "this is not a handle of ours")))
}

fn unknown() -> Problem {
    Problem::new(Ename::EngineLost, "the engine no longer has this prepared statement")
        .hint("prepare it again")
}

impl Service {
    /// A metadata command: answered when its ticket, which is the command itself, comes back.
    fn later(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let descriptor = request.into_inner();
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(descriptor.cmd.clone()));
        Ok(Response::new(FlightInfo::new().with_descriptor(descriptor).with_endpoint(endpoint)))
    }

    /// A prepared statement's text and values.
    fn recall(&self, handle: &Bytes) -> Result<(String, Option<ParamValues>), Status> {
        let Prepared { sql, values } =
            self.0.registry.prepared(text(handle)?).ok_or_else(|| failed(unknown()))?;
        let values = values.as_ref().map(prepared::values).transpose().map_err(failed)?;
        Ok((sql, values))
    }
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        // the socket itself says who is there
        Ok(Response::new(Box::pin(stream::iter([Ok(HandshakeResponse::default())]))))
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let _busy = self.0.activity.begin();
        let (run, schema) = self.look(&query.query, None).await.map_err(failed)?;
        Ok(Response::new(self.info(request.into_inner(), &run, schema)?))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        self.fetch(text(&ticket.statement_handle)?).await
    }

    async fn do_get_fallback(
        &self,
        request: Request<Ticket>,
        _message: Any,
    ) -> Result<Response<DoGet>, Status> {
        // a ticket that is the bare handle
        self.fetch(text(&request.into_inner().ticket)?).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let _busy = self.0.activity.begin();
        let (sql, values) = self.recall(&query.prepared_statement_handle)?;
        let (run, schema) = self.look(&sql, values).await.map_err(failed)?;
        Ok(Response::new(self.info(request.into_inner(), &run, schema)?))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let _busy = self.0.activity.begin();
        let edited = prepared::numbered(&query.query).map_err(failed)?;
        let (_, ready) =
            self.ready(&edited.sql, None).await.map_err(|problem| failed(edited.place(problem)))?;
        let (mut dataset_schema, mut parameter_schema) = (Bytes::new(), Bytes::new());
        if let Some(plan) = ready.plan() {
            let schema = plain_schema(plan.schema().inner());
            dataset_schema = prepared::schema_bytes(&schema).map_err(failed)?;
            let parameters = prepared::parameters(plan).map_err(failed)?;
            parameter_schema = prepared::schema_bytes(&parameters).map_err(failed)?;
        }
        let handle = uuid::Uuid::new_v4().simple().to_string();
        if !self.0.registry.prepare(&handle, Prepared { sql: edited.sql, values: None }) {
            let problem = Problem::new(Ename::MemoryLimit, "too many prepared statements are open");
            return Err(failed(problem.hint("close some of them")));
        }
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        self.0.registry.close(text(&query.prepared_statement_handle)?);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let handle = text(&query.prepared_statement_handle)?.to_owned();
        if let Some(values) = prepared::received(request.into_inner()).await.map_err(failed)?
            && !self.0.registry.bind(&handle, values)
        {
            return Err(failed(unknown()));
        }
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.into()) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let _busy = self.0.activity.begin();
        let handle = text(&query.prepared_statement_handle)?.to_owned();
        if let Some(values) = prepared::received(request.into_inner()).await.map_err(failed)?
            && values.num_columns() > 0
        {
            self.0.registry.bind(&handle, values);
        }
        let (sql, values) = self.recall(&query.prepared_statement_handle)?;
        self.drain(&sql, values).await.map_err(failed)
    }

    async fn do_put_statement_update(
        &self,
        ticket: CommandStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let _busy = self.0.activity.begin();
        self.drain(&ticket.query, None).await.map_err(failed)
    }

    /// Rows of a client become a session table.
    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let _busy = self.0.activity.begin();
        let name = command.table.to_lowercase();
        let exists = self.0.session.scratch().entry(&name).is_some();
        let option = command.table_definition_options.map_or(0, |options| options.if_exists);
        match option {
            if_exists::REPLACE => {}
            if_exists::APPEND if exists => {
                let problem =
                    Problem::new(Ename::Unsupported, "appending to a session table is not supported");
                return Err(failed(problem.hint("replace it, or ingest into a new one and UNION ALL them")));
            }
            _ if exists => {
                let problem = Problem::new(Ename::AlreadyExists, format!("there is a table {name} already"));
                return Err(failed(problem.hint("ingest with mode replace, or DROP it first")));
            }
            _ => {}
        }
        let data =
            request.into_inner().into_peekable().map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut rows = FlightRecordBatchStream::new_from_flight_data(data);
        let mut writer = None;
        while let Some(batch) = rows.try_next().await.map_err(|error| failed(prepared::unreadable(&error)))? {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => {
                    writer.insert(self.0.session.scratch().writer(&name, &batch.schema()).map_err(failed)?)
                }
            };
            writer.write(&batch).map_err(failed)?;
        }
        let writer = match (writer, rows.schema()) {
            (Some(writer), _) => writer,
            (None, Some(schema)) => self.0.session.scratch().writer(&name, schema).map_err(failed)?,
            (None, None) => return Err(failed(Problem::new(Ename::TypeError, "no columns were sent"))),
        };
        let written = i64::try_from(writer.rows()).unwrap_or(i64::MAX);
        writer.finish().map_err(failed)?;
        Ok(written)
    }

    async fn do_put_error_callback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(failed(Problem::new(Ename::BadOption, format!("the upload cannot be understood: {error}"))))
    }

    async fn do_action_begin_transaction(
        &self,
        _query: ActionBeginTransactionRequest,
        _request: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        let problem = Problem::new(Ename::Unsupported, "there are no transactions");
        Err(failed(problem.hint("each statement takes effect by itself: use autocommit")))
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let handle = FlightInfo::decode(query.info).ok().as_ref().and_then(actions::handle_of);
        let stopped = handle.map_or(0, |handle| self.0.registry.cancel(Some(&handle)));
        let result = if stopped > 0 { cancel::CANCELLED } else { cancel::NOT_CANCELLABLE };
        Ok(ActionCancelQueryResult { result })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        actions::act(self, request.into_inner()).await
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        Some(actions::list())
    }

    async fn get_flight_info_catalogs(
        &self,
        _query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.later(request)
    }

    async fn get_flight_info_schemas(
        &self,
        _query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.later(request)
    }

    async fn get_flight_info_tables(
        &self,
        _query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.later(request)
    }

    async fn get_flight_info_table_types(
        &self,
        _query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.later(request)
    }

    async fn get_flight_info_sql_info(
        &self,
        _query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.later(request)
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        _query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.later(request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        _: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        metadata::catalogs(query).map(encoded_batch).map_err(failed)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        _: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        metadata::schemas(&self.0.session, query).map(encoded_batch).map_err(failed)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        _: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        let _busy = self.0.activity.begin();
        let run = Run::new("tables");
        let lease = self.0.lanes.lease(&run).await.map_err(failed)?;
        let session = self.0.session.clone();
        let tables = lease.run(async move { metadata::tables(&session, query).await }).await;
        tables.map(encoded_batch).map_err(failed)
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        _: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        metadata::table_types(query).map(encoded_batch).map_err(failed)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        metadata::sql_info(query).map(encoded_batch).map_err(failed)
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        metadata::types(query).map(encoded_batch).map_err(failed)
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
