package inspect

// handedOver knows the names of resources that some goroutine has released for the one
// that took them. That is legal, and such a resource says nothing about who has to
// release it.
var handedOver handOvers

type handOvers struct{}

func (handOvers) add(name string)      { holdKinds.addHanded(holdKind{name: name}) }
func (handOvers) has(name string) bool { return holdKinds.isHanded(holdKind{name: name}) }
