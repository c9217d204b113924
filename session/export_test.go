package session

// CacheWeight is what v's cache believes to take in memory.
func CacheWeight(v *Vault) int { return int(v.cache().entries.WeightedSize()) }
