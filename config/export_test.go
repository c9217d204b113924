package config

// Asked returns the keys that reading data looks for, as the reference has them.
func Asked(data []byte, env Environment) map[string]bool {
	d := newDecoder("countersign.yaml", env)
	d.config(data)
	return d.asked
}

// Key is a row of the reference.
type Key struct{ Path, Kind, Default, Meaning string }

// Reference returns the rows of the reference.
func Reference() []Key {
	var keys []Key
	for _, k := range reference {
		keys = append(keys, Key{k.path, k.kind, k.standard, k.meaning})
	}
	return keys
}

// Later returns the keys that are refused as not supported yet.
func Later() map[string]bool { return later }
