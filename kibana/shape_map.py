"""The shape of maps and dashboards; `kibana.shape` has that of the rest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kibana.shape import GRID_WIDTH, MOST_HITS, NoItems, Part, Query, Text

Zoom = Annotated[int | float, Field(ge=0, le=24)]

# --- maps ------------------------------------------------------------------------------------------------------------


class _EsSource(Part):
    id: Text
    geoField: Text
    indexPatternRefName: Text
    applyGlobalQuery: bool
    applyGlobalTime: bool
    applyForceRefresh: bool


class _TopHits(_EsSource):
    type: Literal["ES_SEARCH"]
    scalingType: Literal["TOP_HITS"]
    filterByMapBounds: bool
    sortField: Text
    sortOrder: Literal["asc", "desc"]
    topHitsGroupByTimeseries: Literal[False]
    topHitsSplitField: Text
    topHitsSize: int = Field(ge=1, le=MOST_HITS)
    tooltipProperties: list[Text]


class _GridMetric(Part):
    type: Literal["count", "avg", "max", "min", "sum"]
    field: Text | None = None


class _Grid(_EsSource):
    type: Literal["ES_GEO_GRID"]
    requestType: Literal["point", "grid", "heatmap"]
    # The finest one is drawn from vector tiles, which the local mode's Elasticsearch lacks.
    resolution: Literal["COARSE", "FINE", "MOST_FINE"]
    metrics: Annotated[list[_GridMetric], Field(min_length=1)]


class _Geometry(Part):
    type: Literal["MultiLineString"]
    coordinates: Annotated[
        list[
            Annotated[
                list[tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]]],
                Field(min_length=2),
            ]
        ],
        Field(min_length=1),
    ]


class _Feature(Part):
    type: Literal["Feature"]
    properties: dict[str, Any]
    geometry: _Geometry


class _Features(Part):
    type: Literal["FeatureCollection"]
    features: Annotated[list[_Feature], Field(min_length=1)]


class _GeoJson(Part):
    type: Literal["GEOJSON_FILE"]
    name: Text
    areResultsTrimmed: Literal[False]
    tooltipContent: None
    fields: NoItems = Field(alias="__fields")
    features: _Features = Field(alias="__featureCollection")


class _Style(Part):
    type: Literal["VECTOR"]
    properties: dict[str, Any]
    isTimeAware: bool


class _VectorLayer(Part):
    type: Literal["GEOJSON_VECTOR"]
    id: Text
    label: Text
    sourceDescriptor: Annotated[_TopHits | _Grid | _GeoJson, Field(discriminator="type")]
    style: _Style
    minZoom: Zoom
    maxZoom: Zoom
    alpha: Annotated[int | float, Field(ge=0, le=1)]
    visible: bool
    includeInFitToBounds: bool
    joins: NoItems


class _Basemap(Part):
    """The hosted basemap: it needs the internet, so it must not be what a map needs to be shown."""

    type: Literal["EMS_VECTOR_TILE"]
    id: Text
    label: Text
    sourceDescriptor: dict[str, Any]
    style: dict[str, Any]
    minZoom: Zoom
    maxZoom: Zoom
    alpha: Annotated[int | float, Field(ge=0, le=1)]
    visible: Literal[False]
    includeInFitToBounds: Literal[False]


class _Center(Part):
    lon: Annotated[int | float, Field(ge=-180, le=180)]
    lat: Annotated[int | float, Field(ge=-90, le=90)]


class TimeRange(Part):
    from_: Text = Field(alias="from")
    to: Text


class _RefreshConfig(Part):
    isPaused: bool
    interval: int = Field(ge=1000)


class _MapState(Part):
    adHocDataViews: NoItems
    zoom: Zoom
    center: _Center
    timeFilters: TimeRange
    refreshConfig: _RefreshConfig
    query: Query
    filters: NoItems
    settings: dict[str, Any]


class _UiState(Part):
    isLayerTOCOpen: bool
    openTOCDetails: list[str]


class Map(Part):
    title: Text
    description: str
    layerListJSON: Annotated[list[Annotated[_VectorLayer | _Basemap, Field(discriminator="type")]], Field(min_length=1)]
    mapStateJSON: _MapState
    uiStateJSON: _UiState

    @model_validator(mode="after")
    def _layers_are_told_apart(self) -> Map:
        names = [layer.id for layer in self.layerListJSON]
        if len(set(names)) < len(names):
            raise ValueError("two layers have one id")
        return self


# --- dashboards ------------------------------------------------------------------------------------------------------


class _GridData(Part):
    x: int = Field(ge=0)
    y: int = Field(ge=0)
    w: int = Field(ge=1, le=GRID_WIDTH)
    h: int = Field(ge=1)
    i: Text


class _Drilldown(Part):
    useCurrentFilters: bool
    useCurrentDateRange: bool
    openInNewTab: bool


class _Action(Part):
    factoryId: Literal["DASHBOARD_TO_DASHBOARD_DRILLDOWN"]
    name: Text
    config: _Drilldown


class _Event(Part):
    eventId: Text
    triggers: tuple[Literal["FILTER_TRIGGER"]]
    action: _Action


class _DynamicActions(Part):
    events: list[_Event]


class _Enhancements(Part):
    dynamicActions: _DynamicActions | None = None


class _EmbeddableConfig(Part):
    enhancements: _Enhancements
    timeRange: TimeRange | None = None


class Panel(Part):
    type: Literal["lens", "map"]
    gridData: _GridData
    panelIndex: Text
    embeddableConfig: _EmbeddableConfig
    panelRefName: Text

    @model_validator(mode="after")
    def _is_where_it_says(self) -> Panel:
        if not self.gridData.i == self.panelIndex == self.panelRefName.removeprefix("panel_"):
            raise ValueError(f"panel {self.panelIndex}: gridData.i and panelRefName must name the same panel")
        if self.gridData.x + self.gridData.w > GRID_WIDTH:
            raise ValueError(f"panel {self.panelIndex} ends right of the grid, which is {GRID_WIDTH} wide")
        return self

    def overlaps(self, other: Panel) -> bool:
        one, two = self.gridData, other.gridData
        return one.x < two.x + two.w and two.x < one.x + one.w and one.y < two.y + two.h and two.y < one.y + one.h


class _ControlInput(Part):
    id: Text
    title: Text
    fieldName: Text | None = None
    selectedOptions: NoItems | None = None
    singleSelect: bool = False
    enhancements: Annotated[dict[str, Any], Field(max_length=0)]


class _Control(Part):
    order: int = Field(ge=0)
    width: Literal["small", "medium", "large"]
    grow: bool
    type: Literal["optionsListControl", "timeSlider"]
    explicitInput: _ControlInput


class _ControlGroup(Part):
    chainingSystem: Literal["HIERARCHICAL", "NONE"]
    controlStyle: Literal["oneLine", "twoLine"]
    ignoreParentSettingsJSON: dict[str, bool]
    panelsJSON: Annotated[dict[str, _Control], Field(min_length=1)]
    showApplySelections: bool

    @model_validator(mode="after")
    def _named_and_ordered(self) -> _ControlGroup:
        for name, control in self.panelsJSON.items():
            if control.explicitInput.id != name:
                raise ValueError(f"control {name} calls itself {control.explicitInput.id}")
            if control.type == "optionsListControl" and control.explicitInput.fieldName is None:
                raise ValueError(f"control {name} lists the values of no field")
        if sorted(control.order for control in self.panelsJSON.values()) != list(range(len(self.panelsJSON))):
            raise ValueError("the controls' orders must be 0, 1, 2 …")
        return self


class _RefreshInterval(Part):
    pause: bool
    value: int = Field(ge=1000)


class _SearchSource(Part):
    query: Query
    filter: NoItems


class _Meta(Part):
    searchSourceJSON: _SearchSource


class Dashboard(Part):
    title: Text
    description: str
    version: Literal[1]
    timeRestore: Literal[True]
    timeFrom: Text
    timeTo: Text
    refreshInterval: _RefreshInterval
    optionsJSON: dict[str, bool]
    panelsJSON: Annotated[list[Panel], Field(min_length=1)]
    kibanaSavedObjectMeta: _Meta
    controlGroupInput: _ControlGroup | None = None

    @model_validator(mode="after")
    def _panels_lie_side_by_side(self) -> Dashboard:
        for number, panel in enumerate(self.panelsJSON):
            for other in self.panelsJSON[:number]:
                if panel.panelIndex == other.panelIndex:
                    raise ValueError(f"two panels are called {panel.panelIndex}")
                if panel.overlaps(other):
                    raise ValueError(f"panels {other.panelIndex} and {panel.panelIndex} overlap")
        return self
