mod answers;
mod requests;
mod signing;
mod streams;
