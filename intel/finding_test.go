package intel

import "testing"

func TestWorse(t *testing.T) {
	const none, benign, unknown = NoVerdict, Benign, Unknown
	const undecided, related, malicious = Undecided, Related, Malicious
	for _, tt := range []struct {
		a, b Verdict
		want string // which of the two
	}{
		{none, none, "a"}, {none, benign, "b"}, {none, unknown, "b"}, {none, undecided, "b"}, {none, related,
			"b"}, {none, malicious, "b"},
		{benign, none, "a"}, {benign, benign, "a"}, {benign, unknown, "b"}, {benign, undecided, "b"}, {benign,
			malicious, "b"},
		{unknown, none, "a"}, {unknown, benign, "a"}, {unknown, unknown, "a"}, {unknown, undecided, "b"}, {unknown,
			malicious, "b"},
		{undecided, none, "a"}, {undecided, benign, "a"}, {undecided, unknown, "a"}, {undecided, undecided,
			"a"}, {undecided, malicious, "b"},
		{malicious, none, "a"}, {malicious, benign, "a"}, {malicious, unknown, "a"}, {malicious, undecided,
			"a"}, {malicious, malicious, "a"},

		// A relation gives way to every direct answer, on whichever side it stands.
		{related, none, "a"}, {related, benign, "b"}, {related, unknown, "b"}, {related, undecided, "b"}, {related,
			related, "a"}, {related, malicious, "b"},
		{benign, related, "a"}, {unknown, related, "a"}, {undecided, related, "a"}, {malicious, related, "a"},
	} {
		got := Worse(Finding{Verdict: tt.a, Source: "a"}, Finding{Verdict: tt.b, Source: "b"})
		if got.Source != tt.want {
			t.Errorf("%v and %v: got %s, want %s", tt.a, tt.b, got.Source, tt.want)
		}
	}
}

// TestWorseInAnyOrder joins three findings in all orders: who is named first matters only among equals.
func TestWorseInAnyOrder(t *testing.T) {
	for a := NoVerdict; a <= Malicious; a++ {
		for b := NoVerdict; b <= Malicious; b++ {
			for c := NoVerdict; c <= Malicious; c++ {
				x, y, z := Finding{Verdict: a}, Finding{Verdict: b}, Finding{Verdict: c}
				want := Worse(Worse(x, y), z).Verdict
				for _, got := range []Finding{Worse(x, Worse(y, z)), Worse(Worse(z, y), x), Worse(Worse(y, x), z),
					Worse(y, Worse(z, x))} {
					if got.Verdict != want {
						t.Errorf("%v, %v, %v: got %v, want %v", a, b, c, got.Verdict, want)
					}
				}
			}
		}
	}
}
