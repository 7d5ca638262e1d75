#pragma once
#include "CLibcryptoDigest.h"
#include "CLibcryptoKeys.h"
