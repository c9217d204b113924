package authz

// Read returns the readings of a raw path, for the comparison with a slow
// implementation.
func Read(raw string) ([]string, bool) {
	r, err := read(raw)
	return r, err == nil
}
