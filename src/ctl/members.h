/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Members of JSON that a server sent: what is missing, or odd, is nothing and never a fault. */

#include <jansson.h>

/* Borrowed from @object; "" = none. */
static inline const char *sonde_text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}
