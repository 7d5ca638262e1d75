#pragma once
#include "CLibcryptoDigest.h"
#include "CLibcryptoKeys.h"
#include "CLibcryptoQUIC.h"
