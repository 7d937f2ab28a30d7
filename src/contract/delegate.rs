/// Passes methods of [`Sink`](super::Sink) on to the sink in a field, as they are.
macro_rules! delegate {
    (@flush $sink:tt) => {
        fn flush(&self) -> $crate::lifecycle::Flushing {
            self.$sink.flush()
        }
    };
    (@close $sink:tt) => {
        fn close(&self) -> $crate::lifecycle::Closing {
            self.$sink.close()
        }
    };
    (@is_closed $sink:tt) => {
        fn is_closed(&self) -> bool {
            self.$sink.is_closed()
        }
    };
    // The trait's parameter has to be called `E`.
    (@wants $sink:tt) => {
        fn wants(&self, event: &E) -> bool {
            self.$sink.wants(event)
        }
    };
    ($sink:tt: $($method:ident),+) => {
        $($crate::contract::delegate!(@$method $sink);)+
    };
}

pub(crate) use delegate;
