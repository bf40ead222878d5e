// Only the chart kinds the portal draws, so that the built file stays small.
import {
  BarController, BarElement, CategoryScale, Chart, DoughnutController, ArcElement, Filler, Legend,
  LinearScale, LineController, LineElement, PointElement, Tooltip,
} from "chart.js";

Chart.register(
  BarController, BarElement, CategoryScale, DoughnutController, ArcElement, Filler, Legend,
  LinearScale, LineController, LineElement, PointElement, Tooltip,
);
window.Chart = Chart;
