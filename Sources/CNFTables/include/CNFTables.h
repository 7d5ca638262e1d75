// libnftables, nft(8) as a library.
#pragma once

#include <nftables/libnftables.h>
