package mint

// CachedBytes returns what the remembered tokens weigh, once the cache has
// finished its evictions.
func (s *Signer) CachedBytes() uint64 {
	s.cache.CleanUp()
	return s.cache.WeightedSize()
}

// MaxCacheBytes is the bound of CachedBytes.
const MaxCacheBytes = maxCacheBytes
