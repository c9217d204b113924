package admin

// What a query says, for the fuzz target.
var (
	ParseListing    = parseListing
	ParseRevocation = parseRevocation
)
