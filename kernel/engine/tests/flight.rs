//! The service on a socket, as a Flight SQL client sees it: answers, errors, stops, figures.
#![expect(clippy::unwrap_used, reason = "test program")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::Action;
use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::sql::client::FlightSqlServiceClient;
use carrel_cell::problem::{Ename, Problem};
use common::World;
use futures::{StreamExt, TryStreamExt};
use kernel_engine::activity::Activity;
use kernel_engine::authority::Tolerant;
use kernel_engine::flight::Service;
use kernel_engine::lanes::Lanes;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

struct Served {
    _world: World,
    activity: Arc<Activity>,
    service: Service,
    client: FlightSqlServiceClient<Channel>,
    stuck: tokio::sync::mpsc::UnboundedReceiver<String>,
}

async fn served() -> Served {
    let world = World::new();
    let (sender, stuck) = tokio::sync::mpsc::unbounded_channel();
    let lanes = Lanes::new(2, 2, move |handle| {
        let _ = sender.send(handle.to_owned());
    });
    let activity = Activity::new();
    let service = Service::new(world.session().clone(), lanes, activity.clone());
    let path = world.scratch().join("engine.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&path).unwrap()).map(|s| s.map(Tolerant::new));
    let server = Server::builder().add_service(FlightServiceServer::new(service.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://engine").connect_with_connector(connect).await.unwrap();
    Served { _world: world, activity, service, client: FlightSqlServiceClient::new(channel), stuck }
}

impl Served {
    async fn rows(&mut self, sql: &str) -> Result<Vec<RecordBatch>, arrow_flight::error::FlightError> {
        let info = self.client.execute(sql.to_owned(), None).await?;
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let stream = self.client.do_get(ticket).await?;
        stream.try_collect().await
    }

    async fn action(&mut self, name: &str, body: impl Into<bytes::Bytes>) -> serde_json::Value {
        let action = Action { r#type: name.to_owned(), body: body.into() };
        let mut stream = self.client.inner_mut().do_action(action).await.unwrap().into_inner();
        serde_json::from_slice(&stream.message().await.unwrap().unwrap().body).unwrap()
    }
}

#[tokio::test]
async fn statements_answer_and_figures_remain() {
    let mut served = served().await;
    let info = served.client.execute("SELECT id FROM orders WHERE id < 3".into(), None).await.unwrap();
    let handle = info.app_metadata.clone();
    assert_eq!(info.clone().try_decode_schema().unwrap().field(0).name(), "id");
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<RecordBatch> =
        served.client.do_get(ticket.clone()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    let stats = served.action("carrel.stats", handle.clone()).await;
    assert_eq!((stats["rows"].as_u64(), stats["complete"].as_bool()), (Some(3), Some(true)));
    assert_eq!(served.action("carrel.progress", handle).await["fraction"], 1.0);
    assert!(served.client.do_get(ticket).await.is_err(), "a result is fetched once");
    for statement in ["SHOW DATASETS", "SUMMARIZE orders", "CREATE TABLE t AS SELECT 1 a", "SHOW TABLES"] {
        assert!(!served.rows(statement).await.unwrap().is_empty(), "{statement}");
    }
    assert_eq!(served.client.execute_update("DROP TABLE t".into(), None).await.unwrap(), 0);
}

#[tokio::test]
async fn problems_travel_in_a_header() {
    let mut served = served().await;
    let sql = "SELECT contry FROM orders";
    let command = arrow_flight::sql::CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let bytes = prost::Message::encode_to_vec(&arrow_flight::sql::ProstMessageExt::as_any(&command));
    let descriptor = arrow_flight::FlightDescriptor::new_cmd(bytes);
    let status = served.client.inner_mut().get_flight_info(descriptor).await.unwrap_err();
    let header = status.metadata().get_bin("carrel-problem-bin").unwrap().to_bytes().unwrap();
    let problem: Problem = serde_json::from_slice(&header).unwrap();
    assert_eq!((problem.ename, problem.span.unwrap().of(sql)), (Ename::UnknownColumn, "contry"));
    // in the middle of the rows
    let error = served.rows("SELECT 1 // (id - 900) FROM orders").await.unwrap_err();
    let arrow_flight::error::FlightError::Tonic(status) = error else { panic!("{error}") };
    let header = status.metadata().get_bin("carrel-problem-bin").unwrap().to_bytes().unwrap();
    assert_eq!(serde_json::from_slice::<Problem>(&header).unwrap().ename, Ename::ValueError);
}

/// Work that goes on for hours if nobody stops it.
const ENDLESS: &[&str] = &[
    "SELECT count(*) FROM generate_series(1, 100000000000) g(value) WHERE value % 7 = 3",
    "SELECT count(*) FROM orders a, orders b, orders c, orders d WHERE a.id + b.id + c.id + d.id = 17",
    "SELECT value, sha256(cast(value AS varchar)) h FROM generate_series(1, 100000000000) g(value) ORDER BY h",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
];

#[tokio::test]
async fn a_stopped_statement_says_so_at_once_and_its_work_ends() {
    for sql in ENDLESS {
        let mut served = served().await;
        let info = served.client.execute((*sql).to_owned(), None).await.unwrap();
        let (handle, ticket) = (info.app_metadata.clone(), info.endpoint[0].ticket.clone().unwrap());
        let mut fetcher = served.client.clone();
        let fetch =
            tokio::spawn(
                async move { fetcher.do_get(ticket).await?.try_collect::<Vec<RecordBatch>>().await },
            );
        let started = Instant::now();
        while served.action("carrel.progress", handle.clone()).await["stage"] != "running" {
            assert!(started.elapsed() < Duration::from_secs(20), "{sql} never began");
            tokio::task::yield_now().await;
        }
        let stopped = Instant::now();
        assert_eq!(served.action("carrel.cancel", handle.clone()).await["stopped"], 1);
        let error = fetch.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("ancelled"), "{sql}: {error}");
        assert!(stopped.elapsed() < Duration::from_secs(1), "{sql}");
        assert_eq!(served.action("carrel.stats", handle).await["complete"], false);
        // the next statement runs whether the work ended or the lane was given up (the program would end itself)
        let one = served.rows("SELECT 1").await.unwrap();
        assert_eq!(one[0].num_rows(), 1);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_statement() {
    let mut served = served().await;
    let info = served
        .client
        .execute("SELECT generate_series FROM generate_series(1, 100000000000)".into(), None)
        .await
        .unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut stream = served.client.do_get(ticket).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    assert_eq!(served.activity.idle_for(), Duration::ZERO);
    drop(stream);
    let began = Instant::now();
    while served.activity.idle_for() == Duration::ZERO {
        assert!(began.elapsed() < Duration::from_secs(5), "the statement goes on");
        tokio::task::yield_now().await;
    }
    assert!(served.service.is_idle());
    assert!(served.stuck.try_recv().is_err());
}

#[tokio::test]
async fn prepared_statements_take_values() {
    let mut served = served().await;
    let mut prepared =
        served.client.prepare("SELECT count(*) FROM orders WHERE id < ?".into(), None).await.unwrap();
    assert_eq!(prepared.parameter_schema().unwrap().fields().len(), 1);
    assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 1);
    assert!(!served.service.is_idle());
    let value = Arc::new(Int64Array::from(vec![10])) as ArrayRef;
    prepared.set_parameters(RecordBatch::try_from_iter([("$1", value)]).unwrap()).unwrap();
    let info = prepared.execute().await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let rows: Vec<RecordBatch> = served.client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    let count = rows[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
    assert_eq!(count, 10);
    prepared.close().await.unwrap();
    assert!(served.service.is_idle());
}

#[tokio::test]
async fn metadata_lists_what_there_is() {
    let mut served = served().await;
    served.rows("CREATE VIEW v AS SELECT 1 a").await.unwrap();
    let command = arrow_flight::sql::CommandGetTables { include_schema: true, ..Default::default() };
    let info = served.client.get_tables(command).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let rows: Vec<RecordBatch> = served.client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows[0].num_rows(), 4);
    let info = served.client.get_catalogs().await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let rows: Vec<RecordBatch> = served.client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows[0].num_rows(), 1);
}

#[tokio::test]
async fn completion_is_answered_while_a_query_computes() {
    let mut served = served().await;
    let info = served.client.execute(ENDLESS[0].to_owned(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut fetcher = served.client.clone();
    let fetch = tokio::spawn(async move { fetcher.do_get(ticket).await.map(|_| ()) });
    let names = served.action("carrel.describe", r#"{"op":"names"}"#).await;
    assert_eq!(names["names"].as_array().unwrap().len(), 3);
    assert!(names["functions"].as_array().unwrap().len() > 100);
    let columns =
        served.action("carrel.describe", r#"{"op":"columns","names":["shop.orders","nope"]}"#).await;
    assert_eq!(columns["columns"]["shop.orders"][0]["type"], "BIGINT");
    let facts = served.action("carrel.describe", r#"{"op":"inspect","name":"orders.id"}"#).await;
    assert_eq!(
        (facts["kind"].as_str(), facts["description"].as_str()),
        (Some("column"), Some("the order's number"))
    );
    let facts = served.action("carrel.describe", r#"{"op":"inspect","name":"sum","detail":1}"#).await;
    assert_eq!(facts["kind"], "function");
    served.action("carrel.cancel", "").await;
    let _ = fetch.await.unwrap();
}
