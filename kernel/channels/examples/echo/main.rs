//! The echo kernel as a program: `echo -f connection.json`. For trying the framework with any Jupyter client.

mod echo;

use std::sync::Arc;

use carrel_wire::ConnectionInfo;
use kernel_channels::{Handle, Options, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path =
        std::env::args().skip_while(|arg| arg != "-f").nth(1).ok_or("usage: echo -f CONNECTION_FILE")?;
    let connection = ConnectionInfo::parse(&std::fs::read(path)?)?;
    serve(Arc::new(echo::Echo), &connection, Options::default(), Handle::new()).await?;
    Ok(())
}
