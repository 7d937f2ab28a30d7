//! No queues on disk: the command line has refused `--durable`.

use std::convert::Infallible;
use std::error::Error;
use std::io;

use outflow::{Closing, Never, Sink};

use super::DurableArgs;
use crate::endpoint::Endpoint;
use crate::envelope::Event;

pub(crate) struct Stores(Infallible);

#[derive(Clone)]
pub(crate) struct OnDisk(Infallible);

impl Stores {
    pub(crate) fn open(_: &DurableArgs, _: &[Endpoint]) -> Result<Option<Self>, String> {
        Ok(None)
    }

    pub(crate) fn queue<S>(&self, _: &Endpoint, _: S) -> Result<OnDisk, Box<dyn Error>>
    where
        S: Sink<Event> + Send + Sync + 'static,
        S::Error: Never,
    {
        match self.0 {}
    }

    pub(crate) fn others(&self, _: &[Endpoint]) -> io::Result<Vec<String>> {
        match self.0 {}
    }
}

impl OnDisk {
    pub(crate) fn commit(&self, _: Vec<Event>, _: impl Fn(String)) -> bool {
        match self.0 {}
    }

    pub(crate) fn found(&self, _: &Endpoint) -> Vec<String> {
        match self.0 {}
    }

    pub(crate) fn recovered(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn accepted(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn pending(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn close(&self) -> Closing {
        match self.0 {}
    }
}
