package inspect

import "sync"

// OnceFunc is [sync.OnceFunc] with a [Once]: it returns a function that calls f the
// first time. If f panics, every call panics with the same value.
func OnceFunc(f func()) func() {
	var (
		once Once
		run  = sync.OnceFunc(f)
	)
	return func() {
		once.Do(run)
		run()
	}
}

// OnceValue is [sync.OnceValue] with a [Once]: it returns a function that calls f the
// first time, and always returns the results of that call. If f panics, every call
// panics with the same value.
func OnceValue[T any](f func() T) func() T {
	var (
		once  Once
		run   = sync.OnceValue(f)
		first = func() { run() }
	)
	return func() T {
		once.Do(first)
		return run()
	}
}

// OnceValues is [OnceValue] for a function of two results.
func OnceValues[T1, T2 any](f func() (T1, T2)) func() (T1, T2) {
	var (
		once  Once
		run   = sync.OnceValues(f)
		first = func() { run() }
	)
	return func() (T1, T2) {
		once.Do(first)
		return run()
	}
}
