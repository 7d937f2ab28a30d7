//! Four short chapters for those who are new here.
//!
//! A program relays what happens in a container registry to a webhook. It begins with a sink that posts an event
//! ([chapter 1](chapter_1)), and learns what to do when that [fails](chapter_2), when it is [slow](chapter_3), and when
//! there are [many of them, and an end](chapter_4). Each example is complete but for its `main`.

pub mod chapter_1;
pub mod chapter_2;
pub mod chapter_3;
pub mod chapter_4;
