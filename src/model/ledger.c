/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ledger.h"

#include <assert.h>

#include "base/cleanup.h"

static const struct sonde_ledger_info infos[] = {
#define SONDE_LEDGER(site, name, weakens, words) [site] = {name, weakens, words},
#include "model/ledger.def"
#undef SONDE_LEDGER
};
_Static_assert(ELEMENTS_OF(infos) == _SONDE_LEDGER_MAX, "a line for each site");

const struct sonde_ledger_info *sonde_ledger_info(unsigned site)
{
	assert(site < _SONDE_LEDGER_MAX);

	return &infos[site];
}
