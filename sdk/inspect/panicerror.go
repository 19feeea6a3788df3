package inspect

import "fmt"

// panicError is the error of a task that panicked.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprint("panic: ", e.value) }
