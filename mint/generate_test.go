package mint_test

import (
	"testing"

	"github.com/countersign/countersign/mint"
)

func TestGeneratedKeySetLoads(t *testing.T) {
	set, err := mint.GenerateKeySet()
	if err != nil {
		t.Fatal(err)
	}
	first, err := mint.LoadKeys(set, mint.ES256)
	if err != nil {
		t.Fatalf("LoadKeys of a generated set: %v", err)
	}
	again, err := mint.GenerateKeySet()
	if err != nil {
		t.Fatal(err)
	}
	second, err := mint.LoadKeys(again, mint.ES256)
	if err != nil {
		t.Fatal(err)
	}
	if first.KeyID() == "" || first.KeyID() == second.KeyID() {
		t.Errorf("kid %q and %q of two generated keys", first.KeyID(), second.KeyID())
	}
}
