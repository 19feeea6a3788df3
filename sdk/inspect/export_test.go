package inspect

// ForgetHelpers makes every function what it was before it called Helper.
func ForgetHelpers() {
	helpers.Clear()
	helperCalls.clear()
	directPlaces.clear()
	sites.clear()
}
