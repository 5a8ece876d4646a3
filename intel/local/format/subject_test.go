package format

import (
	"fmt"
	"runtime"
	"testing"
)

// TestDefangedCheaply reads defanged values, and what is refused, which took a scanner for each.
func TestDefangedCheaply(t *testing.T) {
	const values = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range values / 2 {
		name := fmt.Sprintf("host%d.evil.com", i)
		if s, err := ParseSubject(fmt.Sprintf("host%d[.]evil[.]com", i)); err != nil || s.Key.Value != name {
			t.Fatalf("got %+v, %v, want %s", s, err, name)
		}
		if _, err := ParseSubject(fmt.Sprintf("/path/%d.sh", i)); err == nil {
			t.Fatal("a path is no indicator")
		}
	}
	runtime.ReadMemStats(&after)
	// A scanner takes 40 KB; the race detector makes pools forget a quarter of what they hold.
	if each := (after.TotalAlloc - before.TotalAlloc) / values; each > 20_000 {
		t.Errorf("a value took %d bytes", each)
	}
}
