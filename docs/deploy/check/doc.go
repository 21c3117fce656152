// Package check holds the files of docs/deploy and the Dockerfile to what reads them:
// the image is put together as an OCI layout and its program is run, manifests are
// decoded strictly into Kubernetes's own types, units go through systemd-analyze, and
// the command lines in all of them are run with the real binary.
//
// A module of its own, so that what it needs is no dependency of fanfold.
package check
