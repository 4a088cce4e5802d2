mod answers;
mod requests;
mod streams;
