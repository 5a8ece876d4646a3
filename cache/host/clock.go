package host

import "time"

// A clock tells the time since some event, which boot names, by which all processes of the host measure budgets and
// leases. Where it can be, it is no time of day: setting the time gives nobody a token, and takes none.
type clock func() (boot string, since time.Duration)

// wall is the clock of a host that has no better one. A jump forward fills the buckets, and no more; after one
// backwards they are empty.
func wall() (string, time.Duration) { return "", time.Duration(time.Now().UnixNano()) }
