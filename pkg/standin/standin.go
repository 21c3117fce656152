// Package standin is a partner that misbehaves on demand, and one that behaves
// exactly as documented.
//
// A contract (cassettes/<slug>/contract.yaml) describes a partner's API from
// its documentation: paths, auth, caps, required fields, answers. The stand-in
// built from it answers --rehearse without a network and checks every recorded
// request. A script makes a stand-in slow, broken or hostile, for the engine's
// tests. Neither knows how fanfold encodes requests: a stand-in derived from
// the encoder would prove nothing.
package standin
