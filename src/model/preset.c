/* SPDX-License-Identifier: Apache-2.0 */
#include "model/preset.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/probe-msg.h"
#include "model/signal.h"

static const struct sonde_preset presets[] = {
#define SONDE_PRESET(n, t, c, time, flows, s, q)                                                   \
	{.name = (n),                                                                              \
	 .title = (t),                                                                             \
	 .question = (q),                                                                          \
	 .collectors = (c),                                                                        \
	 .execution_time = (time),                                                                 \
	 .without_flows = (flows),                                                                 \
	 .signals = (s)},
#include "model/presets.def"
#undef SONDE_PRESET
};

const struct sonde_preset *sonde_preset_at(size_t i)
{
	return i < ELEMENTS_OF(presets) ? &presets[i] : NULL;
}

const struct sonde_preset *sonde_preset_find(const char *name)
{
	assert(name);

	for (size_t i = 0; i < ELEMENTS_OF(presets); i++) {
		if (strcmp(name, presets[i].name) == 0)
			return &presets[i];
	}
	return NULL;
}
