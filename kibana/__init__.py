"""What Kibana shows: saved objects as readable files, their check without a Kibana, and their import.

objects/, templates/    one file for each object, and those from which one is made for each variable
alerts/, settings.json  the rule for silent buoys; Kibana's own settings
coastline.json          the map's bundled coastline
generate.py             all objects of an instance, with the panels that reading.toml makes
files.py                between readable files and what Kibana takes
client.py, importing.py Kibana's HTTP API; import and export, which leave alone what a user edited
check.py                everything that can be found wrong without Kibana:
  shape.py, shape_map.py, rules.py   form and versions
  references.py                      what leads nowhere
  fields.py, kql.py                  fields that there are not
  searches.py                        what each panel asks, to be run on Elasticsearch
"""
