//! Sources of a text: `groundingMetadata` and `citationMetadata`, which count in bytes.

use serde_json::{Map, Value, json};

use crate::chat::{Citation, Family};

/// The sources that a `groundingMetadata` or `citationMetadata` object names for the text so far.
pub(super) fn read(metadata: &Value, text: &str) -> Vec<Citation> {
    let cited = metadata.get("citationSources").or_else(|| metadata.get("citations")).and_then(Value::as_array);
    if let Some(cited) = cited {
        return cited.iter().map(|source| cited_source(source, text)).collect();
    }
    let list = |name: &str| metadata.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (chunks, supports) = (list("groundingChunks"), list("groundingSupports"));
    let mut used = vec![false; chunks.len()];
    let mut citations = Vec::new();
    for support in supports {
        let span = support.get("segment").and_then(|segment| span(segment, text));
        let indices = support.get("groundingChunkIndices").and_then(Value::as_array);
        for index in indices.into_iter().flatten().filter_map(Value::as_u64).filter_map(|at| usize::try_from(at).ok()) {
            if let (Some(chunk), Some(used)) = (chunks.get(index), used.get_mut(index)) {
                *used = true;
                citations.extend(source(chunk, span));
            }
        }
    }
    let unused = chunks.iter().zip(used).filter(|(_, used)| !used).filter_map(|(chunk, _)| source(chunk, None));
    citations.extend(unused);
    citations
}

fn source(chunk: &Value, span: Option<(u64, u64)>) -> Option<Citation> {
    let inner = chunk.get("web").or_else(|| chunk.get("retrievedContext")).or_else(|| chunk.get("maps"))?;
    let word = |name: &str| inner.get(name).and_then(Value::as_str).map(str::to_owned);
    let (url, title, quote) = (word("uri"), word("title"), word("text"));
    (url.is_some() || title.is_some()).then_some(Citation { url, title, quote, span, native: None })
}

fn cited_source(source: &Value, text: &str) -> Citation {
    let word = |name: &str| source.get(name).and_then(Value::as_str).map(str::to_owned);
    Citation {
        url: word("uri"),
        title: word("title"),
        quote: None,
        span: span(source, text),
        native: Some((Family::Google, source.to_string())),
    }
}

fn span(segment: &Value, text: &str) -> Option<(u64, u64)> {
    let place = |name: &str| segment.get(name).and_then(Value::as_u64);
    let end = place("endIndex")?;
    Some((chars(text, place("startIndex").unwrap_or(0)), chars(text, end)))
}

/// How many characters lie before this byte.
fn chars(text: &str, byte: u64) -> u64 {
    let byte = usize::try_from(byte).unwrap_or(usize::MAX).min(text.len());
    text.char_indices().take_while(|(at, _)| *at < byte).count() as u64
}

/// How many bytes lie before this character.
fn bytes(text: &str, char: u64) -> u64 {
    let char = usize::try_from(char).unwrap_or(usize::MAX);
    text.char_indices().nth(char).map_or(text.len(), |(at, _)| at) as u64
}

/// The members of a candidate that name these sources.
pub(super) fn json(citations: &[Citation], text: &str) -> Map<String, Value> {
    let mut members = Map::new();
    let own = |citation: &Citation| match &citation.native {
        Some((Family::Google, native)) => serde_json::from_str::<Value>(native).ok(),
        _ => None,
    };
    let cited: Vec<Value> = citations.iter().filter_map(own).collect();
    if !cited.is_empty() {
        members.insert("citationMetadata".to_owned(), json!({"citationSources": cited}));
    }
    let others: Vec<&Citation> = citations.iter().filter(|citation| own(citation).is_none()).collect();
    if !others.is_empty() {
        members.insert("groundingMetadata".to_owned(), grounding(&others, text));
    }
    members
}

fn grounding(citations: &[&Citation], text: &str) -> Value {
    let mut sources: Vec<(&Option<String>, &Option<String>)> = Vec::new();
    let mut supports = Vec::new();
    for citation in citations {
        let key = (&citation.url, &citation.title);
        let at = sources.iter().position(|known| *known == key).unwrap_or(sources.len());
        if at == sources.len() {
            sources.push(key);
        }
        if let Some((start, end)) = citation.span {
            let (start, end) = (bytes(text, start), bytes(text, end));
            let cited = text.get(start as usize..end as usize).unwrap_or_default();
            let segment = json!({"startIndex": start, "endIndex": end, "text": cited});
            supports.push(json!({"segment": segment, "groundingChunkIndices": [at]}));
        }
    }
    let chunk = |(uri, title): &(&Option<String>, &Option<String>)| json!({"web": {"uri": uri, "title": title}});
    json!({"groundingChunks": sources.iter().map(chunk).collect::<Vec<Value>>(), "groundingSupports": supports})
}
