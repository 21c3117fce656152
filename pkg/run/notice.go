package run

// Notice is something that a person may want to know while a run is opened. It is
// one of the types below.
type Notice interface{ notice() }

// Resuming says that a run goes on where an earlier process left it.
type Resuming struct{ Run string }

// NewStream says that the run of this command is complete, and that the stream is
// taken for new input, since nobody can know what is in it.
type NewStream struct{ Done, Run, Name string }

// NewObjects says how many objects the input has gained since the run was complete.
type NewObjects struct {
	Run     string
	Objects int
}

// NothingNew says that the run was complete, and that there is nothing to do.
type NothingNew struct {
	Run      string
	Finished string // when, for people
	Rejected uint64 // events that were rejected then
	Left     uint64 // of which no redrive has delivered so many
	Redrive  string // the run whose redrive sends those
}

// RedrivenAgain says that these dead letters were sent before, by the same redrive.
type RedrivenAgain struct {
	Run      string
	Finished string
	Left     uint64 // of which so many were refused again
	Redrive  string // the run whose redrive sends those
}

// NewPresets says that the presets of a destination have changed since the run was
// begun: what is new goes out with those of today.
type NewPresets struct{ Run, Destination, Changes string }

// Continuing says that destinations go on with another configuration.
type Continuing struct {
	Run         string
	Differences []Difference
}

// Added says that destinations are new to a run: they begin at the beginning, alone.
type Added struct {
	Run          string
	Destinations []string
}

// OtherSettings says of an earlier run of the same input that its destinations are called as
// those of this command, and are others: so this is a new run.
type OtherSettings struct {
	Run         string
	Differences []Difference
}

// StreamGoesOn says of the stream of a run that was not finished whether it begins as the one did of
// which so many bytes were read before, and goes on where that was; else it is a new one. It is
// told while the run is under way.
type StreamGoesOn struct {
	Run, Name string
	Same      bool
	Before    int64
}

// Held says of files that what they end in may only be the beginning of a row: it was not read.
type Held struct {
	Run   string
	Files []string
}

func (Held) notice()          {}
func (StreamGoesOn) notice()  {}
func (Continuing) notice()    {}
func (Added) notice()         {}
func (OtherSettings) notice() {}
func (Resuming) notice()      {}
func (NewStream) notice()     {}
func (NewObjects) notice()    {}
func (NothingNew) notice()    {}
func (RedrivenAgain) notice() {}
func (NewPresets) notice()    {}
