#pragma once
#include "CLibcryptoDigest.h"
