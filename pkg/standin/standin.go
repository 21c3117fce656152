// Package standin is a partner that behaves exactly as documented, and one that
// misbehaves on demand.
//
// A [Contract] (cassettes/<slug>/contract.yaml) describes a partner's API from
// the partner's documentation: hosts, paths, auth, where the events of a body
// are, caps, required fields and their types, and the documented answers. A
// [Partner] built from contracts is an [net/http.RoundTripper] without sockets,
// for rehearsals, and an [net/http.Handler]; [Contract.Check] tells a test how
// a request breaks the contract.
//
// A [Script] is a list of rules that make a partner slow, broken or hostile:
// hangs, resets, bursts of 503, truncated and endless bodies, garbage, a
// certificate that nobody trusts. A [Mischief] follows it, in process or as a
// handler behind a socket, and counts every event by its id.
//
// The one rule: nothing here knows how fanfold encodes requests. A stand-in
// derived from the encoder would prove nothing.
package standin
