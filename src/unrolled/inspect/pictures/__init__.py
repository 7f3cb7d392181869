"""Pictures of what instruments find, one file an instrument; all need the extra ``plots``."""
