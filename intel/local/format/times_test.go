package format

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	noon := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		text string
		want time.Time
	}{
		{"", time.Time{}}, {"None", time.Time{}}, {"0", time.Time{}}, {"0000-00-00 00:00:00", time.Time{}},
		{"0.1", time.Time{}}, {"1970-01-01 00:00:00", time.Time{}},
		{"2024-05-01 12:00:00", noon}, {"2024-05-01 12:00:00 UTC", noon}, {"2024-05-01T12:00:00Z", noon},
		{"2024-05-01T14:00:00+02:00", noon}, {"2024-05-01T14:00:00.123+0200", noon}, {"2024-05-01T12:00:00.123456", noon},
		{"2024-05-01T12:00:00.999Z", noon}, {"2024-05-01 12:00", noon}, {"1714564800", noon}, {"1714564800000", noon},
		{"1714564800.5", noon}, {"2024-05-01", noon.Add(-12 * time.Hour)}, {"2024/05/01", noon.Add(-12 * time.Hour)},
	} {
		if got, err := parseTime(tt.text); err != nil || !got.Equal(tt.want) {
			t.Errorf("%q: %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"yesterday", "31.12.2026", "2024-13-01", "2024-05-01T25:00:00Z", "-5", "1e300", "NaN", "Inf",
		"0001-01-01T00:00:00Z", "99999999999999999999", "2024-05-01x"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}
