/// The number of an event in its log, from 0.
pub type Seq = u64;
