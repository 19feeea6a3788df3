//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package ratelimiter limits how many requests each client may send to a server of the
// Collector. It is a middleware for any confighttp or configgrpc server.
package ratelimiter
