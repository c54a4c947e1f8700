/* SPDX-License-Identifier: Apache-2.0 */
/* What SkyWalking makes of a policy's document: its mark, and what an agent is told of it. */
#include <errno.h>
#include <string.h>

#include "backend/json.h"
#include "backend/policies/document.h"
#include "backend/store/ids.h"
#include "base/buf.h"

const json_t *sonde_policy_target(const json_t *document, const char *type)
{
	const json_t *list = json_object_get(document, "policy");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *target = json_array_get(list, i);

		if (strcmp(sonde_json_get_text(target, "type", ""), type) == 0)
			return target;
	}
	return NULL;
}

/* The checkers of one type by their monitor, in the enumeration's order, under SkyWalking's names of either form. */
static json_t *checkers_json(const json_t *target, const char *const keys[5])
{
	static const char *const own[5] = {"threshold", "period", "count", "uriList", "uriRegex"};
	const json_t *list = json_object_get(target, "checkers");
	_cleanup_json_ json_t *all = json_object();

	for (size_t i = 0; i < json_array_size(list) * _SONDE_POLICY_MONITOR_MAX && all; i++) {
		const json_t *c = json_array_get(list, i % json_array_size(list));
		const char *name = sonde_policy_monitor_name(
			(enum sonde_policy_monitor)(i / json_array_size(list)));
		_cleanup_json_ json_t *item = json_object();

		if (strcmp(sonde_json_get_text(c, "type", ""), name) != 0)
			continue;
		for (unsigned k = 0; k < 5; k++) {
			json_t *value = json_object_get(c, own[k]);

			if (!item || (value && json_object_set(item, keys[k], value) < 0))
				return NULL;
		}
		if (json_object_set(all, name, item) < 0)
			return NULL;
	}
	return TAKE_PTR(all);
}

/* Gson writes these as \u00xx; in JSON they stand within strings alone. */
static int escape_as_gson(const char *text, struct sonde_buf *out)
{
	int r = 0;

	for (const char *p = text; *p && r == 0; p++)
		r = strchr("<>&='", *p) ? sonde_buf_printf(out, "\\u%04x", (unsigned)*p)
					: sonde_buf_append(out, p, 1);
	return r;
}

int sonde_policy_uuid(const json_t *document, char ret[static SONDE_POLICY_UUID_MAX])
{
	static const char *const keys[5] = {"threshold", "period", "count", "uriList", "uriRegex"};
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(256UL * 1024);
	_cleanup_json_ json_t *all = json_object(), *root = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	ret[0] = '\0';
	for (unsigned i = 0; i < SONDE_POLICY_TYPES && all; i++) {
		const json_t *target = sonde_policy_target(document, sonde_policy_types[i]);

		if (target && json_object_set_new(all, sonde_policy_types[i],
						  checkers_json(target, keys)) < 0)
			return -ENOMEM;
	}
	if (json_object_size(all) == 0)
		return all ? 0 : -ENOMEM;
	root = json_pack("{s:O}", "targetCheckers", all);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	r = text ? escape_as_gson(text, &buf) : -ENOMEM;
	return r < 0 ? r : sonde_id_sha512(sonde_buf_str(&buf), buf.len, ret);
}

json_t *sonde_policy_command(const char *service, const char *uuid, const json_t *document)
{
	static const char *const keys[5] = {"Threshold", "Period", "Count", "URIList", "URIRegex"};
	const json_t *target =
		document ? sonde_policy_target(document, SONDE_POLICY_NETWORK) : NULL;
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s}", "ServiceName", service, "UUID", uuid);

	if (o && target &&
	    json_object_set_new(
		    o, "Profiling",
		    json_pack("{s:o}", SONDE_POLICY_NETWORK, checkers_json(target, keys))) < 0)
		return NULL;
	return TAKE_PTR(o);
}
