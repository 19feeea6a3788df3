// Command demo is a small shop that async-inspect watches: the service of
// `make run` and of the end-to-end tests.
//
// It is two processes that talk over HTTP. The shop takes orders, reserves
// stock under a lock, pays through a client that allows four calls at once, and
// packs in a pool of workers; clerks move stock between warehouses, with a lock
// on each. The bank is the service that is paid. The shop makes load of its own
// and is healthy, unless it is told otherwise:
//
//	curl -X POST localhost:8080/chaos/block      # someone sits on the stock lock for 15 s
//	curl -X POST localhost:8080/chaos/slow-bank  # the bank takes 15 s to answer
//	curl -X POST localhost:8080/chaos/deadlock   # two clerks lock two warehouses in opposite orders, for ever
//
// With -show it says so to itself, in this order. It counts its own tasks, apart
// from the SDK, and prints the counts as JSON at its end, so that a test can
// hold against them what the collector has seen.
package main
