/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy as it comes from a file: YAML, its JSON, the check, and what is made of a good one. What is taken is taken
 * again in its normal form, and unchanged; the place of what is refused is in the file.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/json.h"
#include "backend/policies/document.h"
#include "ctl/policy-file.h"

#define NOW_MS 1763769600000LL

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static void use(const json_t *document)
{
	_cleanup_json_ json_t *command = NULL, *again = NULL;
	const json_t *schedules = json_object_get(document, "schedules");
	char uuid[SONDE_POLICY_UUID_MAX];
	struct sonde_problem problem;
	struct sonde_when when;
	const char *words;

	if (sonde_policy_check(document, "shop::cart", NOW_MS, 1800000, &again, &problem) < 0 ||
	    !json_equal(document, again))
		abort();
	if (sonde_policy_uuid(document, uuid) < 0)
		abort();
	command = sonde_policy_command("shop::cart", uuid, document);
	if (!command)
		abort();
	for (size_t i = 0; i < json_array_size(schedules); i++) {
		const char *text = sonde_json_get_text(json_array_get(schedules, i), "when", "");
		int64_t last = 0, next;

		if (sonde_when_parse(text, &when, &words) < 0)
			abort();
		next = sonde_when_next(&when, NOW_MS);
		if (next <= NOW_MS || sonde_when_count(&when, NOW_MS, next, &last) != 1 ||
		    last != next)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	_cleanup_json_ json_t *raw = NULL, *document = NULL;
	struct sonde_problem problem = {0};
	_cleanup_free_ char *error = NULL;
	int r;

	if (sonde_yaml_parse((const char *)data, n, "fuzz", &root, &error) < 0)
		return 0;
	raw = sonde_policy_file_json(root);
	if (!raw)
		abort();
	r = sonde_policy_check(raw, "shop::cart", NOW_MS, 1800000, &document, &problem);
	if (r == 0)
		use(document);
	else if (r != -EINVAL || problem.status != 400 || !problem.detail[0] ||
		 sonde_policy_file_line(root, problem.field) == 0)
		abort();
	return 0;
}
