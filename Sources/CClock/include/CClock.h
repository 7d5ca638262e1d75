// The kernel's clock: what <sys/timex.h> says, which Swift does not see.
#pragma once

/// Whether something keeps the clock right (adjtimex(2), STA_UNSYNC): 1 or 0; -1 where the kernel does not say.
int clock_is_synchronised(void);

