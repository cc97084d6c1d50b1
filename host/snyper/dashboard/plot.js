// A chart that is there as long as its element: one that is left before it is drawn leaves no error behind.
import { echarts } from "nicegui-echart";

export default {
  template: "<div></div>",
  props: { options: Object, enable3d: Boolean, renderer: String, theme: [String, Object] },
  mounted() {
    this.chart = echarts.init(this.$el, null, { renderer: this.renderer });
    this.sizes = new ResizeObserver(() => this.chart.resize());
    this.sizes.observe(this.$el);
    this.update_chart();
  },
  beforeUnmount() {
    this.sizes.disconnect();
    this.chart.dispose();
    this.chart = null;
  },
  methods: {
    update_chart() {
      if (!this.chart) return;
      const series = this.chart.getOption()?.series?.length;
      this.chart.setOption(this.options, { notMerge: series !== this.options.series?.length });
    },
  },
};
