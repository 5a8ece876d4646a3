package feed

import (
	"fmt"
	"time"
)

// An Age is how old what a feed says is.
type Age struct {
	Name  string
	Age   time.Duration // since its content was last good or still the same; of a feed that never came, since it was added
	Never bool          // nothing good came yet
	Stale bool          // the age is past the feed's limit
	Limit time.Duration
	Error string // why the last try failed; empty if it did not
}

// Ages returns the age of each feed at now.
func (r *Registry) Ages(now time.Time) []Age {
	ages := make([]Age, 0, len(r.Feeds))
	for i := range r.Feeds {
		f := &r.Feeds[i]
		a := Age{Name: f.Name, Never: f.Good.IsZero(), Limit: f.Limit(), Error: f.Error}
		since := f.Good
		if a.Never {
			since = f.Added
		}
		a.Age = max(now.Sub(since), 0) // clocks are set back
		a.Stale = a.Age > a.Limit
		ages = append(ages, a)
	}
	return ages
}

// Warning returns a line about a that is stale, without the program's name and the end of line; empty for one that is
// not.
func (a Age) Warning() string {
	if !a.Stale {
		return ""
	}
	why := "is intel update run by a timer?"
	if a.Error != "" {
		why = "the last try failed: " + a.Error
	}
	if a.Never {
		return fmt.Sprintf("feed %s: nothing has come since it was added %s ago; %s", a.Name, Rounded(a.Age), why)
	}
	return fmt.Sprintf("feed %s is %s old, more than %s; %s", a.Name, Rounded(a.Age), Duration(a.Limit), why)
}

// Rounded returns d, rounded down, in the unit that matters: 40s, 12m, 3h, 2d.
func Rounded(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
