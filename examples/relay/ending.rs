//! How a run ends: the input does, or Ctrl-C ends it, and then its queues are closed.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use outflow::CloseError;

use crate::intake::Intake;
use crate::progress::Progress;
use crate::{Leg, Reading};

/// How the shell names a process that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(100);

/// What the main thread waits for.
pub(crate) enum Happening {
    InputEnded(Reading),
    Interrupted,
    Closed(Result<(), CloseError>),
}

/// How a run ended.
pub(crate) struct Ending {
    /// `None` while the input is still being read.
    pub(crate) reading: Option<Reading>,
    pub(crate) interrupted: bool,
    pub(crate) outcome: Result<(), CloseError>,
}

/// Waits for the end of a run.
pub(crate) struct Watch {
    tell: Sender<Happening>,
    happenings: Receiver<Happening>,
}

impl Watch {
    /// Takes Ctrl-C over: the first is told, the second ends the process.
    pub(crate) fn new() -> Result<Self, ctrlc::Error> {
        let (tell, happenings) = mpsc::channel();
        let interrupts = tell.clone();
        let told = AtomicBool::new(false);
        ctrlc::set_handler(move || {
            if told.swap(true, Ordering::Relaxed) {
                process::exit(INTERRUPTED.into());
            }
            let _ = interrupts.send(Happening::Interrupted);
        })?;
        Ok(Self { tell, happenings })
    }

    pub(crate) fn teller(&self) -> Sender<Happening> {
        self.tell.clone()
    }

    /// Shows the progress until everything is delivered, however long that takes; or, after Ctrl-C, for
    /// `grace`.
    pub(crate) fn wait(
        self,
        intake: &Intake,
        grace: Duration,
        legs: &[Leg],
        mut progress: Progress,
    ) -> Ending {
        let mut reading = None;
        let mut interrupted = false;
        let outcome = loop {
            match self.happenings.recv_timeout(TICK) {
                Ok(Happening::InputEnded(ended)) => {
                    reading = Some(ended);
                    let closing = intake.close();
                    self.tell_outcome(move || closing.wait());
                }
                Ok(Happening::Interrupted) => {
                    interrupted = true;
                    let longest = humantime::format_duration(grace);
                    let fate = intake.fate();
                    progress.notes().say(format_args!(
                        "closing; what is not delivered in {longest} {fate} (Ctrl-C again: at once)"
                    ));
                    let closing = intake.close();
                    self.tell_outcome(move || closing.within(grace));
                }
                Ok(Happening::Closed(outcome)) => break outcome,
                Err(_) => {}
            }
            progress.show(legs);
        };
        progress.end(legs);
        Ending { reading, interrupted, outcome }
    }

    /// Waits on a thread of its own, so that the progress goes on being shown.
    fn tell_outcome<F>(&self, wait: F)
    where
        F: FnOnce() -> Result<(), CloseError> + Send + 'static,
    {
        let tell = self.teller();
        thread::spawn(move || tell.send(Happening::Closed(wait())));
    }
}
